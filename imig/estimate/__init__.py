"""What a recipe's workers take of a GPU's memory: networks counted without their weights."""
