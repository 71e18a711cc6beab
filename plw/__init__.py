"""How much should the prompt count in the loss of instruction fine-tuning? Run the study that answers it."""

__version__ = "0.1.0"
