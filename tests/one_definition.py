"""No two headers may define a type of the same name: in one program, the linker would silently merge two layouts.

usage: one_definition.py SOURCE_DIR
"""
import collections
import pathlib
import re
import sys

TYPE = re.compile(r"^(?:struct|class|enum class)\s+([A-Za-z0-9_]+)\s*(?:final\s*)?(?::[^;{]*)?\{", re.M)

root = pathlib.Path(sys.argv[1])
places = collections.defaultdict(list)
for folder in ("genview", "cli"):
    for file in sorted((root / folder).rglob("*.h")):
        for name in TYPE.findall(file.read_text()):
            places[name].append(file.relative_to(root).as_posix())
wrong = {name: files for name, files in places.items() if len(files) > 1}
for name, files in wrong.items():
    print(f"{name} is defined in {' and '.join(files)}")
print(f"{len(places)} types in headers")
sys.exit(1 if wrong or not places else 0)
