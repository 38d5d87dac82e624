"""Results for people: text in a terminal, figures, video."""
