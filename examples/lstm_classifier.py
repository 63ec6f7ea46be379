"""A text classifier: embedding, two LSTM layers, a linear layer; the batch size varies.

mojoaccel compile examples/lstm_classifier.py
"""

import torch
from torch import Tensor, nn

from mojoaccel import Example


class LSTMClassifier(nn.Module):
    """Classifies token sequences by the state after their last token."""

    def __init__(self, vocabulary: int = 5000, width: int = 256, classes: int = 4) -> None:
        """Make the layers."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 128)
        self.lstm = nn.LSTM(128, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits [batch, classes] of ids [batch, length] int64."""
        states, _ = self.lstm(self.embedding(ids))
        return self.head(states[:, -1])


def factory() -> Example:
    """Return the classifier with seeded weights and one text of 32 tokens.

    The length stays 32: torch.export unrolls an LSTM over time and so fixes it.
    """
    torch.manual_seed(0)
    ids = torch.randint(0, 5000, (1, 32))
    return Example(LSTMClassifier(), (ids,), dynamic={"ids": {0: "batch"}})
