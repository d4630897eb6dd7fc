"""The course made of the book: notebooks for students, graded assignments,
and their grading.
"""
