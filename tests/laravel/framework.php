<?php

/*
 * Stand-ins of the classes of Laravel that the provider uses, each with only what it uses, so that
 * the tests need no package but php-cli. They behave as those of Laravel 10 to 13 do.
 */

namespace Illuminate\Support {
    abstract class ServiceProvider
    {
        public function __construct(protected $app)
        {
        }

        public function register(): void
        {
        }

        public function boot(): void
        {
        }
    }

    class Collection
    {
        public function __construct(protected array $items)
        {
        }

        public function map(callable $callback): static
        {
            return new static(array_map($callback, $this->items));
        }

        public function values(): static
        {
            return new static(array_values($this->items));
        }

        public function all(): array
        {
            return $this->items;
        }
    }
}

namespace Illuminate\Foundation {
    class Application
    {
        public array $bindings = [];

        public bool $runsInConsole = true;

        public function __construct(public string $base, public string $environmentFile)
        {
        }

        public function bind($name, $concrete): void
        {
            $this->bindings[$name] = $concrete instanceof \Closure ? $concrete : fn () => new $concrete;
        }

        public function bindIf($name, $concrete): void
        {
            $this->bound($name) || $this->bind($name, $concrete);
        }

        public function instance($name, $value): void
        {
            $this->bindings[$name] = fn () => $value;
        }

        public function bound($name): bool
        {
            return isset($this->bindings[$name]);
        }

        public function make($name)
        {
            return isset($this->bindings[$name]) ? ($this->bindings[$name])($this) : new $name;
        }

        public function runningInConsole(): bool
        {
            return $this->runsInConsole;
        }

        public function routesAreCached(): bool
        {
            return false;
        }

        public function storagePath(): string
        {
            return $this->base.'/storage';
        }

        public function configPath(): string
        {
            return $this->base.'/config';
        }

        public function environmentFilePath(): string
        {
            return $this->base.'/'.$this->environmentFile;
        }

        public function getCachedConfigPath(): string
        {
            return $this->base.'/bootstrap/cache/config.php';
        }

        public function configurationIsCached(): bool
        {
            return is_file($this->getCachedConfigPath());
        }
    }
}

namespace Illuminate\Config {
    class Repository
    {
        public function __construct(protected array $items)
        {
        }

        public function get($key, $default = null)
        {
            $value = $this->items;

            foreach (explode('.', $key) as $part) {
                if (! is_array($value) || ! array_key_exists($part, $value)) {
                    return $default;
                }

                $value = $value[$part];
            }

            return $value;
        }
    }
}

namespace Symfony\Component\Console\Attribute {
    #[\Attribute(\Attribute::TARGET_CLASS)]
    class AsCommand
    {
        public function __construct(public string $name)
        {
        }
    }
}

namespace Symfony\Component\Console\Input {
    interface InputInterface
    {
    }
}

namespace Symfony\Component\Console\Output {
    interface OutputInterface
    {
    }
}

namespace Illuminate\Console {
    use Symfony\Component\Console\Attribute\AsCommand;
    use Symfony\Component\Console\Input\InputInterface;
    use Symfony\Component\Console\Output\OutputInterface;

    class Components
    {
        public function __call($name, $arguments): void
        {
            echo strtoupper($name).' '.$arguments[0]."\n";
        }
    }

    class Command
    {
        protected $signature;

        protected $components;

        protected array $options = [];

        public function __construct()
        {
            $this->components = new Components;
        }

        public function name(): string
        {
            return strtok($this->signature, " \n");
        }

        /** Runs the command as Laravel does: artisan's own options are known to every command. */
        public function run(array $arguments): int
        {
            preg_match_all('/\{--(\w+)(=?) :/', $this->signature, $known);

            foreach ($arguments as $argument) {
                [$name, $value] = explode('=', ltrim($argument, '-'), 2) + [1 => true];

                if (in_array($name, $known[1])) {
                    $this->options[$name] = $value;
                } elseif (! in_array($name, ['n', 'ansi', 'env'])) {
                    throw new \RuntimeException("The \"$argument\" option does not exist.");
                }
            }

            return $this->execute(new class implements InputInterface {}, new class implements OutputInterface {});
        }

        protected function execute(InputInterface $input, OutputInterface $output)
        {
            return (int) $this->handle();
        }

        public function hasOption($name)
        {
            return array_key_exists($name, $this->options);
        }

        public function option($name)
        {
            return $this->options[$name] ?? null;
        }
    }

    class Application
    {
        protected static array $starting = [];

        protected array $commands = [];

        public static function starting(\Closure $callback): void
        {
            static::$starting[] = $callback;
        }

        public function __construct(protected $laravel, protected bool $isLazy)
        {
            foreach (static::$starting as $callback) {
                $callback($this);
            }
        }

        /** Laravel resolves a command with the attribute when it is run, and others at once. */
        public function resolve($command): void
        {
            if ($command instanceof Command) {
                $this->commands[$command->name()] = fn () => $command;

                return;
            }

            $name = (new \ReflectionClass($command))->getAttributes(AsCommand::class)[0]->newInstance()->name;
            $resolved = $this->isLazy ? null : $this->laravel->make($command);
            $this->commands[$name] = fn () => $resolved ?? $this->laravel->make($command);
        }

        public function run(string $name, array $arguments): int
        {
            $command = $this->commands[$name]();

            if (method_exists($command, 'getSubscribedSignals')) {
                fwrite(STDERR, "handles ".count($command->getSubscribedSignals())." signals\n");
            }

            return $command->run($arguments);
        }
    }
}

namespace Illuminate\Cache {
    class FileStore
    {
        public function __construct(protected $files, protected string $directory)
        {
        }

        public function forever($key, $value): bool
        {
            $hash = sha1($key);
            $folder = $this->directory.'/'.substr($hash, 0, 2).'/'.substr($hash, 2, 2);

            if (! is_dir($folder) && ! @mkdir($folder, 0777, true)) {
                throw new \ErrorException('mkdir(): Permission denied');
            }

            return @file_put_contents($folder.'/'.$hash, '9999999999'.serialize($value)) !== false;
        }
    }
}

namespace Illuminate\Http {
    class Request
    {
        public function __construct(protected array $headers, protected string $content)
        {
        }

        public function header($name)
        {
            return $this->headers[strtolower($name)] ?? null;
        }

        public function getContent(): string
        {
            return $this->content;
        }
    }

    class Response
    {
        public function __construct(public string $content = '', public int $status = 200)
        {
        }
    }
}

namespace Illuminate\Routing {
    class Router
    {
        public array $routes = [];

        public function post($path, $action): static
        {
            $this->routes[$path] = $action;

            return $this;
        }

        public function name($name): static
        {
            return $this;
        }
    }
}

namespace Dotenv {
    class Dotenv
    {
        public static function parse(string $text): array
        {
            preg_match_all('/^(\w+)=(.*)$/m', $text, $lines, PREG_SET_ORDER);

            return array_column(array_map(fn ($line) => [$line[1], trim($line[2], '"')], $lines), 1, 0);
        }
    }
}

namespace {
    function app(?string $name = null)
    {
        global $app;

        return $name === null ? $app : $app->make($name);
    }

    function env(string $name, $default = null)
    {
        return getenv($name) === false ? $default : getenv($name);
    }

    function rescue(callable $callback)
    {
        try {
            return $callback();
        } catch (Throwable $e) {
            echo 'reported '.get_class($e).': '.$e->getMessage()."\n";

            return null;
        }
    }

    function event($event): void
    {
        global $listeners;

        foreach ($listeners[get_class($event)] ?? [] as $listener) {
            $listener($event);
        }
    }
}
