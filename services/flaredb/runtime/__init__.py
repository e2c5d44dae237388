"""What every process needs from its surroundings: time, chance, settings, logs."""
