"""What the chapters and the course need and no program does: figures, exercises, the
reader's progress.
"""
