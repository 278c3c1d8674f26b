# Needs the installed dependencies.
import pathlib
import idna
from packaging.version import Version

pathlib.Path("dist").mkdir(exist_ok=True)
pathlib.Path("dist/version").write_text(f"{Version('1.2.3').minor} {idna.encode('ä.example')}\n")
