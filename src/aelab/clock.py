"""When this process began, as nearly as the package can know: the time to the first step counts from here."""

import time

STARTED = time.time()
