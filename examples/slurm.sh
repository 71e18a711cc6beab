#!/usr/bin/env bash
# One grid, worked on by as many Slurm jobs as there are GPUs to be had. The jobs share a registry and a folder of runs;
# each takes the next cell that nobody holds. A job that is cut off loses its claim, and another one continues the cell.
# Never run by us on a cluster: the tests compose and plan it, and run workers that share a registry on one machine.
#
#   sbatch --export=ALL,REGISTRY=postgresql+psycopg://USER@HOST/plw,RUNS=/shared/plw/runs examples/slurm.sh
#
# The password does not belong into the address: PostgreSQL reads it from ~/.pgpass. The driver comes with
# `pip install 'plw[postgres]'`. The address has to be a server: SQLite on a network's file system loses claims.
#
#SBATCH --job-name=plw
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail
REGISTRY=${REGISTRY:?the address of a PostgreSQL database}
RUNS=${RUNS:?a folder that all nodes see}
SCALE=${SCALE:-smol}

# Compute nodes often have no network: fetch models and data before, on the login node, and stay offline here.
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} WANDB_MODE=${WANDB_MODE:-offline}

# One cell at a time in each job. Every job runs the same command; `plw status` with the same words says how far they
# are. Two minutes before its time is up a job gets SIGTERM: it writes a checkpoint, and another job continues.
exec plw run -m study=plw scale="$SCALE" 'stages=[train,diagnose,harness,generate]' execution.workers=1 \
  execution.runs="$RUNS" registry=url registry.url="$REGISTRY"
