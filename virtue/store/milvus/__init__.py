"""Libraries whose catalogue is in PostgreSQL, and whose vectors are in Milvus since they are very many."""
