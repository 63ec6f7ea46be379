"""The compiler's data: dims, types, layouts, graphs and plans. Nothing here imports torch."""
