"""What runs in a student's process. It imports nothing of the course: all it knows may
be read by the student.
"""
