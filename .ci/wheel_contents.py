"""The wheel holds what a user needs and nothing else."""

import subprocess
import sys
import zipfile

listing = subprocess.run(["git", "ls-files", "numflow_django"], check=True, capture_output=True, text=True)
tracked = set(listing.stdout.split())
names = zipfile.ZipFile(sys.argv[1]).namelist()
held = {name for name in names if ".dist-info/" not in name and not name.endswith("/")}
missing, extra = sorted(tracked - held), sorted(held - tracked)
print(f"wheel: {len(held)} files, {len(missing)} missing, {len(extra)} too many", *missing, *extra)
sys.exit(bool(missing or extra) or "numflow_django/locale/ko/LC_MESSAGES/django.mo" not in held)
