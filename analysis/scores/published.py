"""The published numbers of the PLW paper (arXiv 2401.13586, v4 at EMNLP 2024), to compare a study with.

Datasets are named by ``analysis.scores.datasets.dataset_kind``. None stands for a number that the paper leaves unsaid.
"""

PAPER = "arXiv 2401.13586"

DATASET_NAMES = {
    "data": "AlpacaData",
    "cleaned": "AlpacaDataCleaned",
    "short": "AlpacaDataShort",
    "medium": "AlpacaDataMedium",
    "tiny": "AlpacaDataTiny",
}
"""Kind of dataset -> the paper's name for it."""

TABLE_1: dict[str, dict[str, float | None]] = {
    "data": {"instruction_mean": 13.40, "instruction_sd": 4.97, "input_mean": 6.25, "input_sd": 14.38,
             "completion_mean": 64.51, "completion_sd": 64.85, "total_tokens": 4_376_482, "r_g": 3.27},
    "cleaned": {"instruction_mean": 14.21, "instruction_sd": 9.95, "input_mean": 6.42, "input_sd": 17.65,
                "completion_mean": 162.74, "completion_sd": 150.89, "total_tokens": 9_490_837, "r_g": 7.83},
    "short": {"instruction_mean": 16.93, "instruction_sd": 13.10, "input_mean": 162.34, "input_sd": 151.69,
              "completion_mean": 14.62, "completion_sd": 10.99, "total_tokens": 10_035_667, "r_g": 0.082},
    "medium": {"r_g": 1.0},
    "tiny": {"r_g": 0.042},
}  # fmt: skip
"""Table 1: tokens of the LLaMA tokenizer, template excluded. Medium and Tiny are told by their R_g only (section 6)."""

TABLE_3: dict[str, dict[str, float | None]] = {
    "data": {"p": 0.237, "w": 1.185, "w2": -0.917, "intercept": -0.131},
    "cleaned": {"p": 0.0861, "w": 1.238, "w2": -0.812, "intercept": -0.231},
    "short": {"p": None, "w": 5.590, "w2": -4.284, "intercept": -1.043},
}
"""Table 3: coefficients on the logit scale."""

SMALL_P = "short"
"""The dataset whose p is printed as below 0.001."""

OPTIMUM: dict[str, float] = {"short": 0.242}
"""The optimal weight that the paper derives from Table 3 (section 5.2), where the effect is significant."""

TABLE_4: dict[str, dict[float, float | None]] = {
    "all": {0.5: 0.155, 1.0: 0.155, 1.5: 0.183, 2.0: 0.239} | dict.fromkeys((n / 2 for n in range(5, 17)), None),
    "multiple choice": {0.5: 0.155, 1.0: 0.183, 1.5: 0.278} | dict.fromkeys((n / 2 for n in range(4, 17)), None),
    "generation": {0.5: 0.292} | dict.fromkeys((n / 2 for n in range(2, 16)), None) | {8.0: 0.654},
}
"""Table 4: optimal weight by R_g and aggregate; None where starred (predicted range under 5% of the scores')."""
