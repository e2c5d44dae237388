/* Makes a writer's disk fail: loaded before libc, armed by the first byte of the file DISK_FAULT.
 *
 *   s  every fdatasync and fsync: input/output error
 *   w  every write of data pages: no space left on device
 *   m  every write through an O_DSYNC descriptor (LMDB's meta page): input/output error
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static char armed(void) {
    const char *path = getenv("DISK_FAULT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char fault = 0;
    if (fd >= 0) {
        if (read(fd, &fault, 1) != 1) fault = 0;
        close(fd);
    }
    return fault;
}

static int refused(int fd) {
    char fault = armed();
    int meta = fcntl(fd, F_GETFL) & O_DSYNC;
    if (fault == 'w' && !meta) errno = ENOSPC;
    else if (fault == 'm' && meta) errno = EIO;
    else return 0;
    return 1;
}

int fdatasync(int fd) {
    if (armed() == 's') { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int fsync(int fd) {
    if (armed() == 's') { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (refused(fd)) return -1;
    return ((ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite"))(
        fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    if (refused(fd)) return -1;
    return ((ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64"))(
        fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    if (refused(fd)) return -1;
    return ((ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev"))(
        fd, data, count);
}
