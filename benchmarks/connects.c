// Times socket calls on loopback: reads "tcp N" or "udp N" and a port, writes N durations in nanoseconds (64-bit words).
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static uint64_t one(int type, const struct sockaddr_in *to)
{
    struct linger gone = {1, 0};
    int fd = socket(AF_INET, type, 0);
    uint64_t begun = now();
    int failed = connect(fd, (const struct sockaddr *)to, sizeof *to);
    uint64_t ended = now();
    if (failed) {
        perror("connect");
        exit(1);
    }
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
    close(fd);
    return ended - begun;
}

int main(void)
{
    static uint64_t times[65536];
    char kind[8];
    int count, port;
    while (scanf("%7s %d %d", kind, &count, &port) == 3) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        for (int i = 0; i < count && i < 65536; i++)
            times[i] = one(strcmp(kind, "udp") ? SOCK_STREAM : SOCK_DGRAM, &to);
        fwrite(times, sizeof *times, count, stdout);
        fflush(stdout);
    }
    return 0;
}
