"""The ROM loader's conversation as pure values: frames, commands, what may be sent now."""
