"""An independent simulator of chips behind ptys: bytes in, bytes out. Imports chip rows and errors only."""
