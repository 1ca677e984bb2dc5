"""The operating system and the hardware: threads, processes, signals, files, memory, processors."""
