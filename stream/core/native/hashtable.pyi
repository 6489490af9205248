from stream.core.pure.hashtable import HashTable as HashTable
