#!/usr/bin/env bash
# The whole PLW study on the embedded world: 54 cells in five minutes on two cores; no GPU, no network, no keys.
#
#   bash examples/mini_study.sh
#
# `make sweep` does the last two steps. Killed at any moment, the same commands continue where they were.
set -euo pipefail

# 1. What would run, be skipped or be waited for. Nothing is trained.
plw plan study=plw scale=mini

# 2. Three prompt weights x six base models x three datasets. Each cell is trained, measured, scored and judged.
plw run -m study=plw scale=mini

# 3. Tables, figures, and one page to explore them: runs/plw-mini/report/index.html
plw report study=plw scale=mini
