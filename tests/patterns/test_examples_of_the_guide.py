"""The examples of the guide's patterns run, and print what they promise."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_order_of_a_shop_that_dies_goes_to_the_other_one() -> None:
    path = EXAMPLES / "paranoid_pirate.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    finished = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=100, check=False)

    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "pizza 1 from fragile"
    assert lines[1] == "fragile: started pizza 2 and dies"
    assert lines[2:7] == [f"pizza {number} from sturdy" for number in range(2, 7)]
    assert re.fullmatch(r"6 orders, 6 pizzas, 1 given to another shop", lines[7])
