/* Runs a command and writes to standard error what it took: CPU in microseconds, peak RSS in KiB, exit code, children included.
 * A program of its own because ru_maxrss starts with the RSS of the process that forked: a few hundred KiB here, many MiB in Python. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **command)
{
    struct rusage used;
    int status;
    if (count < 2)
        return 3;
    pid_t child = fork();
    if (child == 0) {
        dup2(1, 2);
        execv(command[1], command + 1);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child)
        return 3;
    long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    fprintf(stderr, "%ld %ld %d\n", cpu, used.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
