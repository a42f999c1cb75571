"""What a check would have said at each moment of a recording: the moments, the kills, the engine's rules, and the words."""
