"""INT8 quantisation, and the selection of operators worth quantising."""
