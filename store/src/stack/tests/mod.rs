mod compare;
mod hostile;
mod model;
mod numbers;
