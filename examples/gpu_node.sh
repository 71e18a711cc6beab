#!/usr/bin/env bash
# The PLW paper's sixty cells on one node with several GPUs (four A100s in the paper). docs/reproduce-plw.md says what
# to fetch first, and what it costs. Never run by us: it is composed and planned by the tests.
#
#   JUDGE=http://HOST:8000/v1 bash examples/gpu_node.sh
#
# SCALE=smol takes models of 135M and 360M parameters in place of 7B: one consumer GPU is enough (then GPUS=1).
set -euo pipefail
SCALE=${SCALE:-paper}
GPUS=${GPUS:-4}
JUDGE=${JUDGE:?the address of an OpenAI-compatible server with Mixtral 8x7B Instruct}
RUNS=${RUNS:-runs}
choice=(study=plw scale="$SCALE" execution.runs="$RUNS")

# 1. Cells, GPU hours, money, and what has to be fetched.
plw plan "${choice[@]}"

# 2. Training takes all GPUs of the node for one cell (FSDP through torchrun).
plw run -m "${choice[@]}" 'stages=[train]' execution.processes="$GPUS"

# 3. Evaluation gives each GPU a cell of its own, which leaves none idle.
plw run -m "${choice[@]}" 'stages=[diagnose,harness,generate]' execution.processes=1 execution.workers="$GPUS"

# 4. The judge compares the stored answers. Another judge later: the same command with another `judge=`.
plw run -m "${choice[@]}" 'stages=[judge]' judge=mixtral judge.endpoint="$JUDGE"

# 5. Tables, figures, page.
plw report "${choice[@]}"
