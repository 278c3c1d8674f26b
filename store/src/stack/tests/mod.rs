mod bombs;
mod compare;
mod deep;
mod hostile;
mod model;
mod numbers;
