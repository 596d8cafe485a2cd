"""config.yml: its file, keys and values, and the settings of each role."""
