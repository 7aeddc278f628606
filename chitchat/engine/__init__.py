"""One turn of talk: propose, screen, score, rank."""
