"""What the plugin makes of messages and answers: `python3 -m unittest discover -s plugins/smtp2go -t plugins/smtp2go`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
