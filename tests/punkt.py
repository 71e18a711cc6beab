"""nltk's data for splitting sentences, learnt from a text: nltk's own would have to be fetched."""

from pathlib import Path

import pytest


def write_punkt(folder: Path, text: str) -> None:
    """Put `tokenizers/punkt_tab/english` into a folder that NLTK_DATA is to name."""
    import nltk
    from nltk.tokenize.punkt import PunktTrainer, save_punkt_params

    place = folder / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        # nltk writes below its own path alone.
        patch.setattr(nltk.data, "path", [str(folder)])
        save_punkt_params(PunktTrainer(text).get_params(), str(place))
