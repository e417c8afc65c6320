"""What listens: web services and the processes behind them. I/O."""
