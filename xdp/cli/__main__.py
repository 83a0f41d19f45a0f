"""`python -m xdp.cli`, where the console script is not installed."""

import sys

from xdp.cli import main

sys.exit(main())
