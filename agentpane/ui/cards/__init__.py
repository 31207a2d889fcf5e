"""What cards are and say: the model of the board, and how a card stands, in words and lines."""
