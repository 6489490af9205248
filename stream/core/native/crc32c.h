/* CRC-32C (Castagnoli), the checksum of Kafka's batches, with the processor's own instruction.

Where there is none, crc32c_is_fast says so, and whoever asked computes it in another way. */
#ifndef LIVESHOP_CRC32C_H
#define LIVESHOP_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

static int crc32c_is_fast(void) { return __builtin_cpu_supports("sse4.2") != 0; }

__attribute__((target("sse4.2")))
static uint32_t crc32c(const unsigned char *data, size_t length) {
    uint64_t crc = 0xFFFFFFFFu;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    for (; length; data++, length--) crc = __builtin_ia32_crc32qi((uint32_t)crc, *data);
    return (uint32_t)crc ^ 0xFFFFFFFFu;
}

#else

static int crc32c_is_fast(void) { return 0; }
static uint32_t crc32c(const unsigned char *data, size_t length) { (void)data; (void)length; return 0; }

#endif
#endif
