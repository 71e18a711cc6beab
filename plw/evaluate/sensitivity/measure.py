"""The prompt sensitivity of a trained model: responses to every wording, and how far their likelihoods move."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from plw.config.evaluation import SensitivityConfig
from plw.evaluate.models.hf import EvalModel
from plw.evaluate.models.likelihood import greedy_responses, log_likelihoods
from plw.evaluate.sensitivity.posix import bootstrap_interval, posix_index, posix_index_as_released
from plw.progress import Progress, no_progress
from plw.results.score import Score

PROMPT_SENSITIVITY, POSIX = "prompt_sensitivity", "posix"
WORDINGS_SEED = 20260101


@dataclass(frozen=True, kw_only=True)
class PromptSensitivity:
    """psi of one prompt."""

    psi: float
    """In nats a token, by the formula."""
    psi_as_released: float
    wordings: int


def measure_sensitivity(
    loaded: EvalModel,
    wordings: Sequence[Sequence[str]],
    *,
    max_new_tokens: int,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> list[PromptSensitivity]:
    """Psi of each prompt; responses are greedy, and no pair of wording and response is computed twice.

    Args:
        loaded: The trained model.
        wordings: Of each prompt two or more, template included.
        max_new_tokens: Tokens after which a response is cut.
        batch_size: Sequences at a time.
        progress: Called with the responses, then the likelihoods done.

    Raises:
        UserError: ``max_new_tokens`` leaves no room for a prompt.
    """
    flat = [text for texts in wordings for text in texts]
    responses = iter(
        greedy_responses(loaded, flat, max_new_tokens=max_new_tokens, batch_size=batch_size, progress=progress)
    )
    sets = [[next(responses) for _ in texts] for texts in wordings]
    pairs = [(prompt, response) for pairs_N in sets for prompt, _ in pairs_N for _, response in pairs_N]
    likelihoods = iter(log_likelihoods(loaded, pairs, batch_size=batch_size, progress=progress))
    found = []
    for pairs_N in sets:
        count = len(pairs_N)
        likelihood_NN = np.array([[next(likelihoods) for _ in range(count)] for _ in range(count)])
        lengths = [len(response) for _, response in pairs_N]
        found.append(
            PromptSensitivity(
                psi=posix_index(likelihood_NN, lengths),
                psi_as_released=posix_index_as_released(likelihood_NN, max_new_tokens),
                wordings=count,
            )
        )
    return found


def sensitivity_scores(found: Sequence[PromptSensitivity], config: SensitivityConfig, suite: str) -> list[Score]:
    """The index with its 95 % interval over prompts, and the index as the authors' code has it; lower is better."""
    psi = [item.psi for item in found]
    low, high = bootstrap_interval(psi, iterations=config.bootstrap_iterations, seed=WORDINGS_SEED)
    score = partial(Score, suite=suite, benchmark=PROMPT_SENSITIVITY, n=len(psi), higher_is_better=False)
    stderr = float(np.std(psi, ddof=1) / np.sqrt(len(psi))) if len(psi) > 1 else None
    others = {
        f"{POSIX}_low": low,
        f"{POSIX}_high": high,
        f"{POSIX}_as_released": float(np.mean([item.psi_as_released for item in found])),
    }
    return [
        score(metric=POSIX, value=float(np.mean(psi)), stderr=stderr),
        *(score(metric=name, value=value) for name, value in others.items() if np.isfinite(value)),
    ]
