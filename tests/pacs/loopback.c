/* Loaded into Orthanc with LD_PRELOAD: whatever it binds is bound on loopback, for it has no setting for that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

int bind(int descriptor, const struct sockaddr *address, socklen_t length) {
    int (*next)(int, const struct sockaddr *, socklen_t);
    struct sockaddr_storage local;
    *(void **)&next = dlsym(RTLD_NEXT, "bind");
    if (length > sizeof local) return next(descriptor, address, length);
    memcpy(&local, address, length);
    if (address->sa_family == AF_INET)
        ((struct sockaddr_in *)&local)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)&local)->sin6_addr = in6addr_loopback;
    return next(descriptor, (struct sockaddr *)&local, length);
}
