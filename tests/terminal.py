"""terminal.py WANTED DO COMMAND...: runs a command on a terminal of 100 x 30. When WANTED is
on its screen, does DO: types it, or, if it begins with "!", has a shell run it. Then prints
what is on the terminal's ordinary screen at the end, and exits as the command did."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
import fcntl

wanted, action, *command = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.environ["TERM"] = "xterm"
    os.execvp(command[0], command)

seen = b""
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:  # Linux's way to say that the command has closed its terminal
        break
    if not data:
        break
    seen += data
    if action and wanted.encode() in seen:
        if action.startswith("!"):
            subprocess.run(action[1:], shell=True, check=True)
        else:
            os.write(fd, action.encode())
        action = None
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
text = seen.decode()
enter, leave = text.count("\x1b[?1049h"), text.count("\x1b[?1049l")
assert enter == leave and text.count("\x1b[?25l") == text.count("\x1b[?25h"), "not restored"
text = re.sub(r"\x1b\[\?1049h.*\x1b\[\?1049l", "", text, flags=re.S)
print(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text), end="")
sys.exit(status)
