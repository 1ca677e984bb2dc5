"""Operating system and hardware: threads, processes, signals, files, memory, processors."""
