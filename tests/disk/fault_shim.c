/* Makes a writer's disk fail: loaded before libc, armed by the text in the file DISK_FAULT.
 *
 *   s    every fdatasync and fsync: input/output error
 *   w    every write of data pages: no space left on device
 *   m    every write through an O_DSYNC descriptor (LMDB's meta page): input/output error
 *   r7   the process is killed before it writes its seventh record of the write-ahead log
 *   h7   the process is killed in its seventh record, half of its pages written
 *   e7   the seventh record and all later ones: input/output error
 *   k7   the process is killed before its seventh write or sync from then on
 *   t7   the process is killed in its seventh write or sync, half of the write done
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int calls_left = 0;

static char armed(int *number) {
    const char *path = getenv("DISK_FAULT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[16] = {0};
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 1) text[0] = 0;
    close(fd);
    *number = atoi(text + 1);
    return text[0];
}

/* 0: go on, 1: refuse with errno, 2: do half and die. Kills the process itself where told to. */
static int verdict(int fd, int is_sync) {
    int number = 0;
    char fault = armed(&number);
    int meta = !is_sync && (fcntl(fd, F_GETFL) & O_DSYNC);
    if (fault == 'r' || fault == 'h' || fault == 'e') return 0;
    if (fault == 'k' || fault == 't') {
        if (calls_left == 0) calls_left = number;
        if (--calls_left > 0) return 0;
        if (fault == 't' && !is_sync) return 2;
        kill(getpid(), SIGKILL);
    }
    errno = fault == 'w' ? ENOSPC : EIO;
    return (fault == 's' && is_sync) || (fault == 'm' && meta) ||
           (fault == 'w' && !is_sync && !meta);
}

int fdatasync(int fd) {
    if (verdict(fd, 1)) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int fsync(int fd) {
    if (verdict(fd, 1)) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    int what = verdict(fd, 0);
    if (what == 1) return -1;
    if (what == 2) {
        real(fd, data, size / 2, offset);
        kill(getpid(), SIGKILL);
    }
    return real(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    return pwrite(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    int what = verdict(fd, 0);
    if (what == 1) return -1;
    if (what == 2) {
        real(fd, data, (count + 1) / 2);
        kill(getpid(), SIGKILL);
    }
    return real(fd, data, count);
}

/* A record of the write-ahead log is about to be written: -1 with errno if it is to fail. */
static int record(int fd, const void *data, size_t size, off_t offset) {
    ssize_t (*some)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    int number = 0;
    char fault = armed(&number);
    if (fault == 'r' || fault == 'h' || fault == 'e') {
        if (calls_left == 0) calls_left = number;
        if (calls_left == 1 && fault == 'e') {
            errno = EIO;
            return -1;
        }
        if (--calls_left == 0) {
            if (fault == 'h') some(fd, data, size / 2 / PAGE * PAGE, offset);
            kill(getpid(), SIGKILL);
        }
    }
    return 0;
}

/* Nothing but the write-ahead log is written with this call, which Python uses for os.pwritev. */
ssize_t pwritev2(int fd, const struct iovec *data, int count, off_t offset, int flags) {
    ssize_t (*real)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    if (record(fd, data->iov_base, data->iov_len, offset)) return -1;
    return real(fd, data, count, offset, flags);
}

/* The kernel's own queue, where the write-ahead log goes through it. */
long syscall(long number, ...) {
    long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
    long given[6];
    va_list list;
    va_start(list, number);
    for (int each = 0; each < 6; each++) given[each] = va_arg(list, long);
    va_end(list);
    if (number == SYS_io_submit) {
        struct iocb *block = ((struct iocb **)given[2])[0];
        const void *data = (const void *)block->aio_buf;
        if (block->aio_lio_opcode == IOCB_CMD_PWRITE &&
            record(block->aio_fildes, data, block->aio_nbytes, block->aio_offset)) return -1;
    }
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

ssize_t pwritev64v2(int fd, const struct iovec *data, int count, off_t offset, int flags) {
    return pwritev2(fd, data, count, offset, flags);
}
