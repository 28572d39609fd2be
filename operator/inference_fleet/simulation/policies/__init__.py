"""The rules that decide how many replicas run: ours as the operator runs it, and others from their published texts."""
