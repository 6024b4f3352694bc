"""The child's side: confine, read the job, do it, write the result.

    python -P -B -m redoubt.service.sandbox.child SECONDS MEMORY FILE FOLDER

The job is JSON on the standard input, the result JSON on the standard output.  Nothing of the candidate is touched
before the process is confined, and nothing that is heavy is imported before.
"""

import json
import sys
from pathlib import Path

from redoubt.service.sandbox.confine import Limits, confine


def main() -> None:
    """Do one job."""
    seconds, memory, file, folder = sys.argv[1:]
    held = confine(Limits(int(seconds), int(memory), int(file)), Path(folder))
    job = json.loads(sys.stdin.buffer.read())

    from redoubt.records import RedoubtError
    from redoubt.service.update.work import Guilty, perform

    try:
        answer = {"result": perform(job, Path(folder))}
    except Guilty as error:
        answer = {"candidate": str(error)[:4000]}
    except RedoubtError as error:
        answer = {"ours": [type(error).__name__, error.what[:4000], error.remedy[:4000]]}
    except MemoryError:
        answer = {"candidate": f"it needs more memory than {held['memory']}"}
    sys.stdout.write(json.dumps(answer | {"held": held}))


if __name__ == "__main__":
    main()
