"""Make a local Llama folder with random weights around a tokenizer, such as the LLaMA SentencePiece file."""

from pathlib import Path
from typing import Annotated

import typer


def main(
    tokenizer: Annotated[str, typer.Argument(help="SentencePiece .model file, tokenizer folder or hub name")],
    folder: Annotated[Path, typer.Argument(help="where the model goes")],
    hidden: Annotated[int, typer.Option(help="width")] = 64,
    layers: Annotated[int, typer.Option(help="transformer blocks")] = 2,
    heads: Annotated[int, typer.Option(help="attention heads")] = 4,
    vocab: Annotated[int | None, typer.Option(help="rows of the embedding; the tokenizer's size by default")] = None,
    seed: Annotated[int, typer.Option(help="seed of the weights")] = 0,
) -> None:
    """Make the folder; then `model.path=<folder>` trains it."""
    from plw.data.tokenizer import load_tokenizer
    from plw.errors import UserError
    from plw.testing.models import make_random_llama

    try:
        make_random_llama(
            folder,
            load_tokenizer(tokenizer),
            hidden=hidden,
            layers=layers,
            heads=heads,
            vocabulary=vocab,
            seed=seed,
        )
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{folder}: Llama, {layers} layers x {hidden} wide, random weights")


if __name__ == "__main__":
    typer.run(main)
