"""What a station needs beside a run: today the rehearsal of a whole batch before a board is touched."""
