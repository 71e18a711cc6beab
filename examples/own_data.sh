#!/usr/bin/env bash
# Which prompt weight suits my data? A model folder and a data file of yours, four weights, one benchmark.
#
#   MODEL=path/to/model DATA=path/to/data.json bash examples/own_data.sh
#
# MODEL: a folder (or a hub name) that transformers loads as a causal language model.
# DATA:  a JSON list, JSONL, parquet or CSV file of records with `instruction`, `input` (may be missing) and `output`.
set -euo pipefail
MODEL=${MODEL:?the folder of a model}
DATA=${DATA:?a file of instructions}

# Words that every command shares. `study=own scale=own` have no axes of their own: what you sweep is what is run.
# Lower the recipe's batch for small data; `recipe.max_length` decides what is cut.
choice=(
  study=own scale=own
  model=folder model.name=my-model model.path="$MODEL"
  dataset=file dataset.name=my-data dataset.path="$DATA"
  recipe=alpaca recipe.batch_size=32
  suite=piqa
)

# 1. How long prompts and completions are, their ratio R_g, and what the maximum length cuts.
plw stats "$DATA" --tokenizer "$MODEL"

# 2. What the paper's ratio model recommends for data of this ratio.
plw recommend "$DATA" --tokenizer "$MODEL"

# 3. What would run, and what is missing.
plw plan "${choice[@]}" loss.prompt_weight=0,0.01,0.1,1

# 4. Four cells. PIQA is fetched from the hub; without a network add
#    +suite.tasks.piqa.files.validation=path/to/piqa.jsonl
plw run -m "${choice[@]}" loss.prompt_weight=0,0.01,0.1,1

# 5. Every score as CSV.
plw registry export "${choice[@]}" --out scores.csv
