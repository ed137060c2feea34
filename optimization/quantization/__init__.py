"""INT8 quantisation, the selection of operators, and the evaluation of the result."""
