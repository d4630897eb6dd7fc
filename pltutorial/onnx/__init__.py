"""Networks as ONNX files, for runtimes without PyTorch;
:mod:`pltutorial.onnx.export` is the door.
"""
