#!/usr/bin/env python3
"""Makes build/tests/venv, a virtual environment with the Python clients, and prints its interpreter."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HOME = os.path.abspath(os.path.join(HERE, '..', '..', 'build', 'tests', 'venv'))
WANTED = os.path.join(HERE, 'requirements.txt')


def python():
    done = os.path.join(HOME, 'installed')
    if not os.path.exists(done) or os.path.getmtime(WANTED) > os.path.getmtime(done):
        subprocess.run([sys.executable, '-m', 'venv', '--clear', HOME], check=True)
        subprocess.run([os.path.join(HOME, 'bin', 'pip'), 'install', '--quiet', '--disable-pip-version-check',
                        '-r', WANTED], check=True)
        open(done, 'w', encoding='utf-8').close()
    return os.path.join(HOME, 'bin', 'python')


if __name__ == '__main__':
    print(python())
