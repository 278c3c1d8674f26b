mod hostile;
mod model;
mod numbers;
