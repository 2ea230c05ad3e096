"""`python -m parburn` is the same as `parburn`."""

import sys

from parburn.cli import main

sys.exit(main())
