"""What things cost here."""
